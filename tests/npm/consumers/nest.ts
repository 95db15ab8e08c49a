/** A NestJS server with measured methods, by `experimentalDecorators`. */
import { pipeline, stage } from "@lukhas/stage-metrics";
import { captureMetrics, sampleValue } from "@lukhas/stage-metrics/testing";
import {
  applyDecorators,
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  Injectable,
  Module,
  Param,
  SetMetadata,
  UseGuards,
} from "@nestjs/common";
import { NestFactory, Reflector } from "@nestjs/core";
import "reflect-metadata";

const Roles = (...roles: string[]) => SetMetadata("roles", roles);

const Measured = (name: string) => applyDecorators(pipeline(name));

@Injectable()
class RolesGuard implements CanActivate {
  reflector: Reflector;

  constructor(reflector: Reflector) {
    this.reflector = reflector;
  }

  canActivate(context: ExecutionContext): boolean {
    const roles = this.reflector.get<string[] | undefined>(
      "roles",
      context.getHandler(),
    );
    return !roles?.includes("admin");
  }
}

@Injectable()
class Users {
  @stage("find")
  async find(id: string): Promise<string> {
    return await Users.greet(id);
  }

  @stage("greet")
  static greet(name: string): string {
    return `Hello, ${name}`;
  }
}

@Controller()
@UseGuards(RolesGuard)
class UsersController {
  users: Users;

  constructor(users: Users) {
    this.users = users;
  }

  @Get("above/:id")
  @Roles("admin")
  @pipeline("above")
  above(@Param("id") id: string): Promise<string> {
    return this.users.find(id);
  }

  @pipeline("below")
  @Get("below/:id")
  @Roles("admin")
  below(@Param("id") id: string): Promise<string> {
    return this.users.find(id);
  }

  @pipeline("open", { timeout: 60_000 })
  @Get("open/:id")
  @Roles("user")
  open(@Param("id") id: string): Promise<string> {
    return this.users.find(id);
  }

  @Get("applied/:id")
  @Measured("applied")
  applied(@Param("id") id: string): Promise<string> {
    return this.users.find(id);
  }
}

@Module({ controllers: [UsersController], providers: [Users, Reflector] })
class AppModule {}

await captureMetrics({ lane: "test" }, async ({ registry }) => {
  const app = await NestFactory.create(AppModule, { logger: ["error"] });
  await app.listen(0, "127.0.0.1");
  const { port } = app.getHttpServer().address() as { port: number };
  for (const path of ["above", "below", "open", "applied"]) {
    const response = await fetch(`http://127.0.0.1:${port}/${path}/Ada`);
    const runs = await sampleValue(
      registry,
      "lukhas_orchestration_pipeline_total",
      { lane: "test", pipeline_name: path, status: "success" },
    );
    const text = response.ok ? await response.text() : "";
    console.log(path, response.status, text, runs);
  }
  for (const name of ["find", "greet"]) {
    const runs = await sampleValue(
      registry,
      "lukhas_orchestration_stage_total",
      {
        lane: "test",
        pipeline_name: "open",
        stage_name: name,
        outcome: "success",
      },
    );
    console.log(name, runs);
  }
  await app.close();
});
