CREATE TABLE "import_blocks" (
	"import_id" uuid NOT NULL,
	"block" integer NOT NULL,
	"lines" integer[] NOT NULL,
	"lengths" integer[] NOT NULL,
	"content" text,
	CONSTRAINT "import_blocks_import_id_block_pk" PRIMARY KEY("import_id","block")
);
--> statement-breakpoint
CREATE TABLE "import_errors" (
	"import_id" uuid NOT NULL,
	"line" integer NOT NULL,
	"position" integer NOT NULL,
	"code" text COLLATE "C" NOT NULL,
	"pointer" text,
	"message" text NOT NULL,
	CONSTRAINT "import_errors_import_id_line_position_pk" PRIMARY KEY("import_id","line","position")
);
--> statement-breakpoint
CREATE TABLE "import_mappings" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"name" text NOT NULL,
	"kind" text NOT NULL,
	"mapping" jsonb NOT NULL,
	"attributes" jsonb,
	"tags" text[],
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "imports" (
	"id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"kind" text NOT NULL,
	"format" text NOT NULL,
	"dry_run" boolean NOT NULL,
	"survey_id" uuid,
	"mapping" jsonb,
	"columns" jsonb,
	"client" text NOT NULL,
	"status" text NOT NULL,
	"failure" jsonb,
	"bytes" bigint NOT NULL,
	"lines" bigint NOT NULL,
	"done" bigint NOT NULL,
	"created" bigint NOT NULL,
	"updated" bigint NOT NULL,
	"unchanged" bigint NOT NULL,
	"stale" bigint NOT NULL,
	"failed" bigint NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL,
	"received_at" timestamp with time zone,
	"finished_at" timestamp with time zone
);
--> statement-breakpoint
ALTER TABLE "import_blocks" ADD CONSTRAINT "import_blocks_import_id_imports_id_fk" FOREIGN KEY ("import_id") REFERENCES "public"."imports"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "import_errors" ADD CONSTRAINT "import_errors_import_id_imports_id_fk" FOREIGN KEY ("import_id") REFERENCES "public"."imports"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "import_mappings_created" ON "import_mappings" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "imports_created" ON "imports" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "imports_unfinished" ON "imports" USING btree ("updated_at") WHERE finished_at is null;